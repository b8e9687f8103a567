/* Arm MPS2+ with AN386 (Cortex-M4): what it shares with its sisters is in boards/common. */
#include "mps2_cmsdk.h"

MPS2_BOARD("mps2-an386");
