# hotflash.cmake: for CMake projects of applications. docs/PROJECT.md shows how to use it.
#
#   hotflash_target(<executable> BOARD <name or folder>
#                   [NOPS 4|6] [HOOKS <entries>] [RELEASE_MEMORY <folder>])
#     Makes an executable hot: patch points, image header, build ID, printf to the live log. With
#     -DHOTFLASH=OFF it links the release instead, with nothing of hotflash in it.
#     NOPS: 16-bit nops per patch point, default 4; 6 for more than 1,024 or 2,048 functions.
#     HOOKS: entries of the hook table, default 1024.
#     RELEASE_MEMORY: folder of the memory.ld that a release is linked with; default: the board's.
#
#   hotflash_library(<library> [NOPS 4|6])
#     Gives the functions of a library target patch points; its executable is a hotflash_target.

include_guard(GLOBAL)
option(HOTFLASH "Build for hot reloading; OFF builds the release" ON)
get_filename_component(HOTFLASH_SDK_DIR "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)

function(_hotflash_flags variable file)
  file(STRINGS "${HOTFLASH_SDK_DIR}/bootloader/app/${file}" line LIMIT_COUNT 1)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${HOTFLASH_SDK_DIR}/bootloader/app/${file}")
  separate_arguments(flags UNIX_COMMAND "${line}")
  set(${variable} ${flags} PARENT_SCOPE)
endfunction()

function(hotflash_library target)
  cmake_parse_arguments(PARSE_ARGV 1 HF "" "NOPS" "")
  if(HF_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "hotflash_library(${target}): unknown ${HF_UNPARSED_ARGUMENTS}")
  endif()
  target_include_directories(${target} PRIVATE "${HOTFLASH_SDK_DIR}/bootloader/include")
  if(NOT HOTFLASH)
    target_compile_definitions(${target} PRIVATE HOTFLASH=0)
    return()
  endif()
  _hotflash_flags(flags hot.cflags)
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:C,CXX>:${flags}>")
  if(HF_NOPS)
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:C,CXX>:-fpatchable-function-entry=${HF_NOPS}>")
  endif()
endfunction()

function(hotflash_target target)
  cmake_parse_arguments(PARSE_ARGV 1 HF "" "BOARD;NOPS;HOOKS;RELEASE_MEMORY" "")
  if(HF_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "hotflash_target(${target}): unknown ${HF_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT HF_BOARD)
    message(FATAL_ERROR "hotflash_target(${target}): BOARD is missing")
  endif()
  get_filename_component(board "${HF_BOARD}" ABSOLUTE)
  if(NOT EXISTS "${board}/board.toml")
    set(board "${HOTFLASH_SDK_DIR}/boards/${HF_BOARD}")
  endif()
  if(NOT EXISTS "${board}/board.toml")
    message(FATAL_ERROR "hotflash_target(${target}): no board ${HF_BOARD}: neither a folder with board.toml "
                        "nor one of ${HOTFLASH_SDK_DIR}/boards")
  endif()

  if(HF_NOPS)
    hotflash_library(${target} NOPS ${HF_NOPS})
  else()
    hotflash_library(${target})
  endif()

  if(NOT HOTFLASH)
    if(HF_RELEASE_MEMORY)
      get_filename_component(memory "${HF_RELEASE_MEMORY}" ABSOLUTE)
      target_link_options(${target} PRIVATE "-L${memory}")
    endif()
    target_link_options(${target} PRIVATE "-L${board}" "-L${HOTFLASH_SDK_DIR}/bootloader/ld/release")
    return()
  endif()

  file(STRINGS "${board}/board.toml" vectors REGEX "^vectors *=" LIMIT_COUNT 1)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${board}/board.toml")
  string(REGEX REPLACE "^vectors *= *([0-9]+).*" "\\1" vectors "${vectors}")
  _hotflash_flags(flags hot.ldflags)
  target_sources(${target} PRIVATE "${HOTFLASH_SDK_DIR}/bootloader/app/hf_app.c")
  target_link_options(${target} PRIVATE ${flags} "-Wl,-T,${HOTFLASH_SDK_DIR}/bootloader/ld/hot.ld"
                      "-L${board}" "-L${HOTFLASH_SDK_DIR}/bootloader/ld" "-Wl,--defsym=__hf_vectors=${vectors}")
  if(HF_NOPS)
    target_link_options(${target} PRIVATE "-Wl,--defsym=__hf_nops=${HF_NOPS}")
  endif()
  if(HF_HOOKS)
    target_link_options(${target} PRIVATE "-Wl,--defsym=__hf_hook_capacity=${HF_HOOKS}")
  endif()
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS
               "${board}/memory.ld" "${HOTFLASH_SDK_DIR}/bootloader/ld/hotflash.ld"
               "${HOTFLASH_SDK_DIR}/bootloader/ld/hot.ld")
endfunction()
