/* Arm MPS2+ with AN385 (Cortex-M3): what it shares with its sisters is in boards/common. */
#include "mps2_cmsdk.h"

MPS2_BOARD("mps2-an385");
