"""Small torch parts that families put together; one part a file."""
