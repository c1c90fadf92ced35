# The CUDA kernels. add_cuda_kernels() compiles each csrc/cuda/kernels/*.cu to a file in build/cuda, and
# tells csrc/cuda/driver/kernel_files.cc the names of these files. The addon reads them when a call first
# needs a GPU; kernel_files.cc says where it looks. A file does not depend on the host: the addons of all
# platforms read the same files. Each has machine code for drivers of nvcc's CUDA version or newer, and PTX
# for older drivers. run_nvcc.cmake describes the format.
#
# The name of a file contains a hash of the sources (kernel_names.cmake), as in
# forward.0123456789abcdef.fatbin. So an addon never loads kernels of other sources. Each file ends with a
# checksum of itself.
#
# Without nvcc (CUDACXX, else CUDA_PATH, PATH, /usr/local/cuda), the addon uses the kernels in
# prebuilds/cuda: `npm run prebuild` writes them there, and the package contains them.
#
# Building the addon does not require the kernels. They are the target cuda_kernels, which ALL includes.
include(${CMAKE_CURRENT_LIST_DIR}/kernel_names.cmake)

set(RMSNORM_CUDA AUTO CACHE STRING
  "CUDA kernels: AUTO compiles them if there is nvcc; ON fails if there is neither nvcc nor compiled kernels; OFF does not compile them")
set_property(CACHE RMSNORM_CUDA PROPERTY STRINGS AUTO ON OFF)
set(RMSNORM_CUDA_ARCHS "" CACHE STRING
  "Architectures of the kernels, such as 80-real (machine code) and 80-virtual (PTX). Empty: the environment variable of this name, else all")

# GPUs of compute capability 8.9 and 10.3 run the machine code of sm_86 and sm_100.
set(default_archs 75-real 80-real 86-real 90-real 100-real 120-real
  75-virtual 80-virtual 90-virtual 100-virtual)
include(${CMAKE_CURRENT_LIST_DIR}/ptx.cmake)
# -fmad=false: the numerics contract (csrc/op/fold.h) says which products and sums are fused. The compiler
# must not fuse others.
set(nvcc_options -fatbin -O3 -std=c++17 -fmad=false --expt-relaxed-constexpr)
# Names the format of a file. The hash in the file's name includes it, so that an addon loads no other format.
set(file_format "line, fatbin in xz, PTX with relative numbers in xz, checksum")

# Sets `result` to nvcc's -gencode options for `archs`, a list like RMSNORM_CUDA_ARCHS. Sets `code` and `ptx`
# to the architectures in it for machine code and for PTX.
function(gencode_options archs result code ptx)
  set(options)
  set(reals)
  set(virtuals)
  foreach(arch IN LISTS archs)
    if(NOT arch MATCHES "^([0-9]+)-(real|virtual)$")
      message(FATAL_ERROR "RMSNORM_CUDA_ARCHS must be a list such as 80-real;80-virtual. Received '${archs}'")
    endif()
    if(CMAKE_MATCH_2 STREQUAL "real")
      # Compiles from the PTX of the lowest architecture whose instructions and register limits the kernels
      # use. So nvcc makes five versions of PTX, instead of one for each architecture.
      if(CMAKE_MATCH_1 GREATER_EQUAL 120)
        set(virtual 120)
      elseif(CMAKE_MATCH_1 GREATER_EQUAL 100)
        set(virtual 100)
      elseif(CMAKE_MATCH_1 GREATER_EQUAL 90)
        set(virtual 90)
      elseif(CMAKE_MATCH_1 GREATER_EQUAL 80)
        set(virtual 80)
      else()
        set(virtual 75)
      endif()
      list(APPEND reals ${CMAKE_MATCH_1})
      list(APPEND options -gencode=arch=compute_${virtual},code=sm_${CMAKE_MATCH_1})
    else()
      if(NOT DEFINED ptx_${CMAKE_MATCH_1})
        message(FATAL_ERROR "RMSNORM_CUDA_ARCHS has ${arch}, and cmake/ptx.cmake has no PTX version for it")
      endif()
      list(APPEND virtuals ${CMAKE_MATCH_1})
      list(APPEND options -gencode=arch=compute_${CMAKE_MATCH_1},code=compute_${CMAKE_MATCH_1})
    endif()
  endforeach()
  set(${result} "${options}" PARENT_SCOPE)
  set(${code} "${reals}" PARENT_SCOPE)
  set(${ptx} "${virtuals}" PARENT_SCOPE)
endfunction()

# Sets `result` to the path of nvcc; empty without nvcc, or if RMSNORM_CUDA is OFF.
function(find_nvcc result)
  if(RMSNORM_CUDA STREQUAL "OFF")
    set(${result} "" PARENT_SCOPE)
    return()
  endif()
  if(RMSNORM_NVCC AND NOT EXISTS "${RMSNORM_NVCC}")
    unset(RMSNORM_NVCC CACHE) # an earlier run found it, and it was removed since
  endif()
  # HINTS come before PATH: PATH may have a compiler cache's wrapper, and CUDACXX may name another nvcc.
  find_program(RMSNORM_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH PATH_SUFFIXES bin PATHS /usr/local/cuda)
  if(RMSNORM_NVCC)
    set(${result} ${RMSNORM_NVCC} PARENT_SCOPE)
  else()
    set(${result} "" PARENT_SCOPE)
  endif()
endfunction()

# Reports whether all kernels were compiled before, for a build that does not compile them.
function(report_existing_kernels names)
  foreach(folder IN ITEMS ${PROJECT_BINARY_DIR}/cuda ${PROJECT_SOURCE_DIR}/prebuilds/cuda)
    set(missing)
    foreach(name IN LISTS names)
      if(NOT EXISTS ${folder}/${name})
        list(APPEND missing ${name})
      endif()
    endforeach()
    if(NOT missing)
      message(STATUS "CUDA kernels: not compiled by this build; the addon will use those in ${folder}")
      return()
    endif()
  endforeach()
  set(folder ${PROJECT_SOURCE_DIR}/prebuilds/cuda)
  if(RMSNORM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "RMSNORM_CUDA is ON, but nvcc was not found and ${folder} lacks ${missing}")
  elseif(RMSNORM_CUDA STREQUAL "OFF")
    message(STATUS "CUDA kernels: none, since RMSNORM_CUDA is OFF. The addon will run on the CPU only")
  else()
    message(STATUS "CUDA kernels: none, since there is neither nvcc nor ${missing} in ${folder}. The addon will run on the CPU only")
  endif()
endfunction()

function(add_cuda_kernels)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/cuda/kernels/*.cu)
  find_nvcc(nvcc)
  set(archs "${RMSNORM_CUDA_ARCHS}")
  if(NOT archs)
    set(archs "$ENV{RMSNORM_CUDA_ARCHS}")
  endif()
  if(NOT archs)
    set(archs "${default_archs}")
  endif()
  gencode_options("${archs}" gencode code ptx)
  if(nvcc)
    find_program(RMSNORM_NODE node REQUIRED) # packs the PTX
  endif()

  set(folder ${PROJECT_BINARY_DIR}/cuda)
  set(names)
  set(fatbins)
  foreach(source IN LISTS sources)
    included_files(${source} files)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})
    fatbin_name("${nvcc_options};${file_format}" "${files}" name)
    list(APPEND names ${name})
    list(APPEND fatbins ${folder}/${name})
    get_filename_component(kernels ${source} NAME_WE)
    # The command does not depend on the sources: if they change, the name changes. The report of ptxas on
    # registers and spills is written to a log file beside the output.
    if(nvcc)
      add_custom_command(
        OUTPUT ${folder}/${name}
        COMMAND ${CMAKE_COMMAND}
          "-DNVCC=${nvcc};${nvcc_options};-Xptxas=-v;-I${PROJECT_SOURCE_DIR}/csrc;${gencode}"
          -DNODE=${RMSNORM_NODE}
          -DSOURCE=${source}
          "-DCODE=${code}"
          "-DPTX=${ptx}"
          -DFATBIN=${folder}/${name}
          -DLOG=${folder}/${kernels}.ptxas.log
          -P ${PROJECT_SOURCE_DIR}/cmake/run_nvcc.cmake
        DEPENDS ${PROJECT_SOURCE_DIR}/cmake/run_nvcc.cmake ${PROJECT_SOURCE_DIR}/cmake/ptx.cmake
          ${PROJECT_SOURCE_DIR}/cmake/relative_numbers.mjs
        COMMENT "Compiling CUDA kernels ${kernels}.cu"
        VERBATIM)
    endif()
  endforeach()

  file(GLOB stale ${folder}/*.fatbin)
  list(REMOVE_ITEM stale ${fatbins})
  if(stale)
    file(REMOVE ${stale})
  endif()
  if(nvcc)
    add_custom_target(cuda_kernels ALL DEPENDS ${fatbins})
    list(JOIN archs " " archs)
    message(STATUS "CUDA kernels: compiled by ${nvcc} for ${archs}")
  else()
    add_custom_target(cuda_kernels)
    report_existing_kernels("${names}")
  endif()

  list(TRANSFORM names REPLACE "(.+)" "\"\\1\"" OUTPUT_VARIABLE quoted)
  list(JOIN quoted "," quoted)
  set_source_files_properties(csrc/cuda/driver/kernel_files.cc PROPERTIES
    COMPILE_DEFINITIONS "RMSNORM_KERNEL_FILES=${quoted}")
endfunction()
