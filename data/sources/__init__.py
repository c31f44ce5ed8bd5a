"""WHERE BYTES COME FROM: folders, corpora, catalogues, tokenizers and their caches."""
