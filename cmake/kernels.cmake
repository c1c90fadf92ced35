# The CUDA kernels: add_cuda_kernels(TARGET) compiles csrc/cuda/kernels/*.cu to a fatbin each and
# embeds them in TARGET, as csrc/cuda/images.h declares. A fatbin does not depend on the host: the
# same file goes into the addon of every platform. Where the fatbins come from:
#   1. RMSNORM_FATBINS, a folder of finished ones, if that is set;
#   2. nvcc, if there is one: CUDACXX, else PATH, CUDA_PATH, /usr/local/cuda;
#   3. prebuilds/cuda, where `npm run prebuild` leaves them and the package has them.
# Without any of these the addon runs on the CPU alone, and says so when asked for a GPU.
set(RMSNORM_CUDA AUTO CACHE STRING
  "CUDA kernels: AUTO embeds them if they are to be had, ON fails if they are not, OFF leaves them out")
set_property(CACHE RMSNORM_CUDA PROPERTY STRINGS AUTO ON OFF)
set(RMSNORM_FATBINS "" CACHE PATH "Folder of finished fatbins to embed instead of compiling them")
set(RMSNORM_CUDA_ARCHS "" CACHE STRING
  "What the kernels are compiled for, as 80-real;80-virtual: machine code, PTX. Empty: the environment variable of this name, else all")

set(default_archs
  75-real 80-real 86-real 89-real 90-real 100-real 103-real 120-real
  75-virtual 80-virtual 90-virtual)

# Sets `result` to nvcc's -gencode options for a list as RMSNORM_CUDA_ARCHS.
function(gencode_options archs result)
  set(options)
  foreach(arch IN LISTS archs)
    if(NOT arch MATCHES "^([0-9]+)-(real|virtual)$")
      message(FATAL_ERROR "RMSNORM_CUDA_ARCHS must be such as 80-real;80-virtual. Received '${archs}'")
    endif()
    if(CMAKE_MATCH_2 STREQUAL "real")
      # By the PTX of the lowest architecture whose instructions, and bounds of registers, the kernels
      # use: four sources of machine code instead of one for each, at half the time.
      if(CMAKE_MATCH_1 GREATER_EQUAL 120)
        set(virtual 120)
      elseif(CMAKE_MATCH_1 GREATER_EQUAL 90)
        set(virtual 90)
      elseif(CMAKE_MATCH_1 GREATER_EQUAL 80)
        set(virtual 80)
      else()
        set(virtual 75)
      endif()
      list(APPEND options -gencode=arch=compute_${virtual},code=sm_${CMAKE_MATCH_1})
    else()
      list(APPEND options -gencode=arch=compute_${CMAKE_MATCH_1},code=compute_${CMAKE_MATCH_1})
    endif()
  endforeach()
  set(${result} "${options}" PARENT_SCOPE)
endfunction()

# Compiles every .cu file to build/cuda/NAME.fatbin, with what ptxas says of registers and spills in
# NAME.ptxas.log next to it.
function(compile_fatbins nvcc result)
  set(archs "${RMSNORM_CUDA_ARCHS}")
  if(NOT archs)
    set(archs "$ENV{RMSNORM_CUDA_ARCHS}")
  endif()
  if(NOT archs)
    set(archs "${default_archs}")
  endif()
  gencode_options("${archs}" gencode)
  # -fmad=false: the numerics contract (csrc/fold.h) says which products and sums are fused.
  set(options -fatbin -O3 -std=c++17 -fmad=false --expt-relaxed-constexpr --compress-mode=size -Xptxas=-v -I${PROJECT_SOURCE_DIR}/csrc)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/cuda/kernels/*.cu)
  file(GLOB headers CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/csrc/cuda/kernels/*.cuh ${PROJECT_SOURCE_DIR}/csrc/cuda/*.h ${PROJECT_SOURCE_DIR}/csrc/*.h)
  set(fatbins)
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    set(fatbin ${PROJECT_BINARY_DIR}/cuda/${name}.fatbin)
    add_custom_command(
      OUTPUT ${fatbin}
      COMMAND ${CMAKE_COMMAND}
        "-DCOMMAND=${nvcc};${options};${gencode};-o;${fatbin};${source}"
        -DLOG=${PROJECT_BINARY_DIR}/cuda/${name}.ptxas.log
        -P ${PROJECT_SOURCE_DIR}/cmake/run_nvcc.cmake
      DEPENDS ${source} ${headers} ${PROJECT_SOURCE_DIR}/cmake/run_nvcc.cmake
      COMMENT "Compiling CUDA kernels ${name}.cu"
      VERBATIM)
    list(APPEND fatbins ${fatbin})
  endforeach()
  # What a source that is gone has left, whoever embeds the folder would embed.
  file(GLOB stale ${PROJECT_BINARY_DIR}/cuda/*.fatbin)
  list(REMOVE_ITEM stale ${fatbins})
  if(stale)
    file(REMOVE ${stale})
  endif()
  list(JOIN archs " " archs)
  message(STATUS "CUDA kernels: compiled by ${nvcc} for ${archs}")
  set(${result} "${fatbins}" PARENT_SCOPE)
endfunction()

# Sets `result` to the fatbins to embed, or to nothing.
function(find_fatbins result)
  set(fatbins)
  if(RMSNORM_CUDA STREQUAL "OFF")
    message(STATUS "CUDA kernels: none, since RMSNORM_CUDA is OFF")
  elseif(RMSNORM_FATBINS)
    file(GLOB fatbins CONFIGURE_DEPENDS ${RMSNORM_FATBINS}/*.fatbin)
    if(NOT fatbins)
      message(FATAL_ERROR "There is no *.fatbin in ${RMSNORM_FATBINS}, which RMSNORM_FATBINS names")
    endif()
    message(STATUS "CUDA kernels: finished ones of ${RMSNORM_FATBINS}")
  else()
    # PATH first would find the wrapper of a compiler cache before what CUDACXX asks for.
    find_program(RMSNORM_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH PATH_SUFFIXES bin PATHS /usr/local/cuda)
    set(shipped ${PROJECT_SOURCE_DIR}/prebuilds/cuda)
    if(RMSNORM_NVCC)
      compile_fatbins(${RMSNORM_NVCC} fatbins)
    else()
      file(GLOB fatbins CONFIGURE_DEPENDS ${shipped}/*.fatbin)
      if(fatbins)
        message(STATUS "CUDA kernels: finished ones of ${shipped}, since there is no nvcc")
      else()
        message(STATUS "CUDA kernels: none, since there is neither nvcc nor ${shipped}: CPU only")
      endif()
    endif()
  endif()
  if(RMSNORM_CUDA STREQUAL "ON" AND NOT fatbins)
    message(FATAL_ERROR "RMSNORM_CUDA is ON, and there are no CUDA kernels to embed")
  endif()
  set(${result} "${fatbins}" PARENT_SCOPE)
endfunction()

function(add_cuda_kernels target)
  find_fatbins(fatbins)
  set(text "    .section .rodata\n")
  set(table "")
  set(index 0)
  foreach(fatbin IN LISTS fatbins)
    string(APPEND text "    .balign 64\nimage_${index}:\n    .incbin \"${fatbin}\"\n")
    string(APPEND table "    .quad image_${index}\n")
    math(EXPR index "${index} + 1")
  endforeach()
  string(APPEND text
    "    .section .data.rel.ro, \"aw\"\n"
    "    .balign 8\n"
    "    .globl rmsnorm_cuda_images\n"
    "    .hidden rmsnorm_cuda_images\n"
    "rmsnorm_cuda_images:\n${table}    .quad 0\n"
    "    .section .note.GNU-stack, \"\", %progbits\n")
  set(assembly ${PROJECT_BINARY_DIR}/cuda/images.S)
  file(CONFIGURE OUTPUT ${assembly} CONTENT "${text}" @ONLY)  # unchanged if its text is
  set_source_files_properties(${assembly} PROPERTIES OBJECT_DEPENDS "${fatbins}")
  target_sources(${target} PRIVATE ${assembly})
endfunction()
