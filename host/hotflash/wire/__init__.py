"""Frames, messages, and the link that carries them: docs/SPEC.md."""
