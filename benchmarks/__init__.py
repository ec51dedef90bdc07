"""Speed as ratios: each part against its own baseline, in the same run. See README.md."""
