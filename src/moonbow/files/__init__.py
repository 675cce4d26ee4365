"""Files that people share: kept where their uploader is at home, read elsewhere only in passing."""
