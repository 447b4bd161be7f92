"""Everything remembered: one file is one aggregate: its tables and its named queries."""
