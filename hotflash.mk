# hotflash.mk: for Makefiles of applications. docs/PROJECT.md shows how to use it.
#
# Set before the include:
#   BOARD           name of a board that comes with hotflash, or the path of a board's folder
#   HOTFLASH        1 (default): hot build; 0: release, nothing of hotflash in it
# and where the defaults do not fit:
#   HOTFLASH_NOPS   4 (default) or 6: 16-bit nops per patch point; 6 for more than 1,024 or 2,048 functions
#   HOTFLASH_HOOKS  entries of the hook table, default 1024
#   RELEASE_MEMORY  folder of the memory.ld that a release is linked with; default: the board's
#
# What it gives:
#   HF_CFLAGS        add to the compiler's flags, of libraries too
#   HF_LDFLAGS       add to the link, with the compiler as the driver
#   HF_SOURCES       C files to compile in
#   HF_BOARD_CFLAGS  core and ABI of the board, for projects that have no such flags of their own
#   HF_BOARD_NAME    last part of BOARD

HF_ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST))))
HOTFLASH ?= 1
HOTFLASH_NOPS ?= 4

ifeq ($(strip $(BOARD)),)
$(error hotflash: BOARD is not set; one of: $(notdir $(patsubst %/board.toml,%,$(wildcard $(HF_ROOT)/boards/*/board.toml))))
endif
HF_BOARD_DIR := $(abspath $(firstword $(patsubst %/board.toml,%,$(wildcard $(BOARD)/board.toml $(HF_ROOT)/boards/$(BOARD)/board.toml))))
ifeq ($(HF_BOARD_DIR),)
$(error hotflash: no board $(BOARD); one of: $(notdir $(patsubst %/board.toml,%,$(wildcard $(HF_ROOT)/boards/*/board.toml))), or a folder with board.toml)
endif
HF_BOARD_NAME := $(notdir $(HF_BOARD_DIR))
HF_BOARD_CFLAGS := $(shell tr '\n' ' ' < '$(HF_BOARD_DIR)/board.toml' | sed -n 's/.*cflags *= *\[\([^]]*\)\].*/\1/p' | tr -d '",')
HF_VECTORS := $(shell sed -n 's/^vectors *= *\([0-9]*\).*/\1/p' '$(HF_BOARD_DIR)/board.toml')

ifeq ($(HOTFLASH),1)
HF_CFLAGS := $(file < $(HF_ROOT)/bootloader/app/hot.cflags) -I$(HF_ROOT)/bootloader/include
HF_LDFLAGS := $(file < $(HF_ROOT)/bootloader/app/hot.ldflags) -Wl,-T,$(HF_ROOT)/bootloader/ld/hot.ld \
	-L$(HF_BOARD_DIR) -L$(HF_ROOT)/bootloader/ld -Wl,--defsym=__hf_vectors=$(HF_VECTORS)
HF_SOURCES := $(HF_ROOT)/bootloader/app/hf_app.c
ifneq ($(HOTFLASH_NOPS),4)
HF_CFLAGS += -fpatchable-function-entry=$(HOTFLASH_NOPS)
HF_LDFLAGS += -Wl,--defsym=__hf_nops=$(HOTFLASH_NOPS)
endif
ifneq ($(HOTFLASH_HOOKS),)
HF_LDFLAGS += -Wl,--defsym=__hf_hook_capacity=$(HOTFLASH_HOOKS)
endif
else ifeq ($(HOTFLASH),0)
HF_CFLAGS := -DHOTFLASH=0 -I$(HF_ROOT)/bootloader/include
HF_LDFLAGS := $(if $(RELEASE_MEMORY),-L$(RELEASE_MEMORY)) -L$(HF_BOARD_DIR) -L$(HF_ROOT)/bootloader/ld/release
HF_SOURCES :=
else
$(error hotflash: HOTFLASH is 1 or 0, not $(HOTFLASH))
endif
