"""The tree literal: read line by line."""
