"""What the fork server imports first: no collection looks through what it imports then.

All of that stays, so that a collection would find nothing, and take a sixth of the imports' time.
"""

import gc

gc.disable()
