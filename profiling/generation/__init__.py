"""Generation by one language model, or by two with cache-to-cache communication."""
