"""What the daemon keeps on disk: blobs by their digest."""
