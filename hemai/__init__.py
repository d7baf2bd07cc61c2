"""hemai: classifiers of stained cells, and figures that survive new patients.

Research software, not a medical device.
"""

import os

# albumentations asks the network for a newer version on import; its successor has another licence.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
