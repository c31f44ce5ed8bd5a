"""The embedded corpus: public-domain English prose and verse; see PROVENANCE.md."""
