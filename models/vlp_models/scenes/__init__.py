"""A small procedural world with exact supervision: pictures, captions and questions, seeded and split."""
