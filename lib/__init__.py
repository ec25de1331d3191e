"""What the notebooks share. Import modules one by one (`from lib.training import losses`):
importing stays cheap."""
