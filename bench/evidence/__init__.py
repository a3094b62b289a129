"""How the algorithms compare at toy scale: a campaign of paired runs, its tables and its plots."""
