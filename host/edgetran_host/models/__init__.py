"""The network an architecture stands for, where its weights come from and how they are kept."""
