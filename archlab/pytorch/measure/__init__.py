"""What runs on a device is timed and weighed here."""
