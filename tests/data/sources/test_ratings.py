import io
import tarfile

import numpy as np
import pytest

from data.sources import ratings, wheel
from tests.data.sources.test_rows import write

OWN = "item,who,user,rating\ntea,x,bo,2\nrye,x,al,1.5\ntea,x,al,4\ntea,x,bo,3\n"


def told(found):
    """Each rating by name."""
    return {
        (found.user_names[user], found.item_names[item]): rating
        for user, item, rating in zip(found.users, found.items, found.ratings)
    }


def test_of_a_pair_the_last_rating_counts(tmp_path):
    found = ratings.find(write(tmp_path, OWN))
    assert (found.user_names, found.item_names) == (("al", "bo"), ("rye", "tea"))
    assert told(found) == {("bo", "tea"): 3, ("al", "rye"): 1.5, ("al", "tea"): 4}
    assert (len(found.ratings), found.repeated, found.times) == (3, 1, None)
    assert found.users.dtype == found.items.dtype == np.int32


def test_the_last_is_the_latest_where_ratings_say_when(tmp_path):
    source = write(tmp_path, "user,item,rating,time\nal,tea,4,9\nal,tea,1,2\nbo,rye,5,-1e9\n")
    found = ratings.find(source)
    assert told(found) == {("al", "tea"): 4, ("bo", "rye"): 5}
    assert found.times.tolist() == [9, -1e9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,item\na,b\n", "the columns user, item; allowed: user and item and rating, or time"),
        ("user,item,rating\n", "has no rows; allowed: at least one"),
        ("user,item,rating\na,b,good\n", "line 2 column 'rating': 'good'; allowed: a finite"),
        ("user,item,rating\na,b,inf\n", "line 2 column 'rating': 'inf'; allowed"),
        ("user,item,rating\na,b,1e16\n", "line 2 column 'rating': '1e16'; allowed"),
        ("user,item,rating,time\na,b,1,today\n", "line 2 column 'time': 'today'; allowed"),
        ("user,item,rating\na, ,1\n", "line 2 has an empty item; allowed: a name"),
        ("user,item,rating\na,b,1,2\n", "line 2 has 4 cells; allowed: 3"),
    ],
)
def test_what_rows_may_not_hold(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        ratings.find(write(tmp_path, content))
    assert "\n" not in str(error.value)


def test_what_is_no_source(tmp_path):
    for source in ("movielens", "csv:", "jsonl:a", "msq:a", "debian"):
        with pytest.raises(ValueError, match=r"allowed: msq, insteval, csv:PATH"):
            ratings.known(source)
    with pytest.raises(ValueError, match=r"'debian:'; allowed: .*, debian, debian:PATH, csv:PATH"):
        ratings.known("debian:", rated=False)
    for function in (ratings.find, ratings.state):
        with pytest.raises(FileNotFoundError, match=r"data\.source: csv:.*there is no such file"):
            function(f"csv:{tmp_path}/none.csv")


def archive(**tables):
    """The archive inside the package, with a twin beside each table as macOS leaves them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in tables.items():
            place = ratings._FILES[name]
            folder, _, last = place.rpartition("/")
            for path, content in ((f"{folder}/._{last}", b"\0\5\x16\7"), (place, text.encode())):
                info = tarfile.TarInfo(path)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_tables_of_the_package_are_told_from_their_twins(monkeypatch):
    sheets = '"","calm","sad","sex"\n"1",0,3,1\n"2",NA,NA,0\n"7",NA,2,1\n'
    marks = '"","s","d","studage","y"\n"1","1","1002","2",5\n"2","9","1002","4",2\n'
    content = archive(msq=sheets, insteval=marks)
    monkeypatch.setattr(wheel, "read", lambda name, inside: content)
    monkeypatch.setitem(ratings.SIZES, "msq", (2, 2))
    assert told(ratings.find("msq")) == {("1", "calm"): 0, ("1", "sad"): 3, ("7", "sad"): 2}
    assert told(ratings.find("insteval")) == {("1", "1002"): 5, ("9", "1002"): 2}
    assert ratings.state("msq") == ()
