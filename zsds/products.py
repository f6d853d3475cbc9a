"""Product name -> relative path inside an archive; nothing here touches the disk."""
