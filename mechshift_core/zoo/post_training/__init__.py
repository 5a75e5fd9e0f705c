"""Post-training of pretrained models: an MDM and its control from one base, as adapters or whole."""
