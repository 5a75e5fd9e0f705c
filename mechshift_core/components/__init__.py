"""What single components of a loaded model do: what they write, read in the vocabulary."""
