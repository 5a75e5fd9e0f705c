"""The natural banks: words and sentences for the tokenizers of pretrained models."""
