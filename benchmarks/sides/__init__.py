"""The other sides of the comparisons, each a small program that can be read in one sitting."""
