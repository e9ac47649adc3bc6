"""The process that holds one loaded model; needs numpy and one runtime only."""
