"""What a bundle carries beside the model, and its ways to and from registries."""
