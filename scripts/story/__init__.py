"""The demo: the main job told as a story, each claim proved as it goes."""

from __future__ import annotations
