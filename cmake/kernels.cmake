# The CUDA kernels: add_cuda_kernels() compiles csrc/cuda/kernels/*.cu to a file each, in build/cuda, and
# tells csrc/cuda/driver/kernel_files.cc their names. The addon reads them when a GPU is first asked for
# (csrc/cuda/driver/kernel_files.cc says where it looks). A file does not depend on the host: the same files
# serve the addon of every platform. Each has machine code for drivers of nvcc's CUDA or newer, and PTX for
# others (run_nvcc.cmake has the format).
#
# A name carries a hash of the sources (kernel_names.cmake), forward.0123456789abcdef.fatbin, so that an
# addon never takes kernels that do not fit it. Where there is no nvcc (CUDACXX, else PATH, CUDA_PATH,
# /usr/local/cuda), those of prebuilds/cuda serve, where `npm run prebuild` leaves them and the package
# has them. A file ends with a checksum of itself (run_nvcc.cmake).
#
# The addon does not depend on the kernels when it is built, so that one can be had without the other:
# they are the target cuda_kernels, a part of ALL.
include(${CMAKE_CURRENT_LIST_DIR}/kernel_names.cmake)

set(RMSNORM_CUDA AUTO CACHE STRING
  "CUDA kernels: AUTO compiles them if there is nvcc, ON fails if there is neither nvcc nor compiled ones, OFF does not compile them")
set_property(CACHE RMSNORM_CUDA PROPERTY STRINGS AUTO ON OFF)
set(RMSNORM_CUDA_ARCHS "" CACHE STRING
  "What the kernels are compiled for, as 80-real;80-virtual: machine code, PTX. Empty: the environment variable of this name, else all")

# sm_89 and sm_103 run the code of sm_86 and sm_100.
set(default_archs 75-real 80-real 86-real 90-real 100-real 120-real
  75-virtual 80-virtual 90-virtual 100-virtual)
include(${CMAKE_CURRENT_LIST_DIR}/ptx.cmake)
# -fmad=false: the numerics contract (csrc/op/fold.h) says which products and sums are fused.
set(nvcc_options -fatbin -O3 -std=c++17 -fmad=false --expt-relaxed-constexpr)
# The format of a file is a part of its name's hash, so that an addon takes no file of another format.
set(file_format "line, fatbin in xz, PTX with relative numbers in xz, checksum")

# Sets `result` to nvcc's -gencode options for a list as RMSNORM_CUDA_ARCHS, `code` and `ptx` to the
# architectures that it wants machine code and PTX of.
function(gencode_options archs result code ptx)
  set(options)
  set(reals)
  set(virtuals)
  foreach(arch IN LISTS archs)
    if(NOT arch MATCHES "^([0-9]+)-(real|virtual)$")
      message(FATAL_ERROR "RMSNORM_CUDA_ARCHS must be a list such as 80-real;80-virtual. Received '${archs}'")
    endif()
    if(CMAKE_MATCH_2 STREQUAL "real")
      # By the PTX of the lowest architecture whose instructions, and bounds of registers, the kernels
      # use: five sources of machine code instead of one for each.
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
        message(FATAL_ERROR "RMSNORM_CUDA_ARCHS contains ${arch}, whose PTX version is missing in cmake/ptx.cmake")
      endif()
      list(APPEND virtuals ${CMAKE_MATCH_1})
      list(APPEND options -gencode=arch=compute_${CMAKE_MATCH_1},code=compute_${CMAKE_MATCH_1})
    endif()
  endforeach()
  set(${result} "${options}" PARENT_SCOPE)
  set(${code} "${reals}" PARENT_SCOPE)
  set(${ptx} "${virtuals}" PARENT_SCOPE)
endfunction()

# Sets `result` to the path of nvcc, or to nothing.
function(find_nvcc result)
  if(RMSNORM_CUDA STREQUAL "OFF")
    set(${result} "" PARENT_SCOPE)
    return()
  endif()
  if(RMSNORM_NVCC AND NOT EXISTS "${RMSNORM_NVCC}")
    unset(RMSNORM_NVCC CACHE) # found before, and gone
  endif()
  # PATH first would find the wrapper of a compiler cache before what CUDACXX asks for.
  find_program(RMSNORM_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH PATH_SUFFIXES bin PATHS /usr/local/cuda)
  if(RMSNORM_NVCC)
    set(${result} ${RMSNORM_NVCC} PARENT_SCOPE)
  else()
    set(${result} "" PARENT_SCOPE)
  endif()
endfunction()

# Says whether the kernels, which are not compiled here, have been.
function(report_finished_kernels names)
  foreach(folder IN ITEMS ${PROJECT_BINARY_DIR}/cuda ${PROJECT_SOURCE_DIR}/prebuilds/cuda)
    set(missing)
    foreach(name IN LISTS names)
      if(NOT EXISTS ${folder}/${name})
        list(APPEND missing ${name})
      endif()
    endforeach()
    if(NOT missing)
      message(STATUS "CUDA kernels: not compiled here; ${folder} has them")
      return()
    endif()
  endforeach()
  set(folder ${PROJECT_SOURCE_DIR}/prebuilds/cuda)
  if(RMSNORM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "RMSNORM_CUDA is ON, but nvcc was not found and ${folder} lacks ${missing}")
  elseif(RMSNORM_CUDA STREQUAL "OFF")
    message(STATUS "CUDA kernels: none, since RMSNORM_CUDA is OFF: CPU only")
  else()
    message(STATUS "CUDA kernels: none, since nvcc was not found and ${folder} lacks ${missing}: CPU only")
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
    # It does not depend on the sources: others have another name. What ptxas says of registers and
    # spills goes to a file next to it.
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
    report_finished_kernels("${names}")
  endif()

  list(TRANSFORM names REPLACE "(.+)" "\"\\1\"" OUTPUT_VARIABLE quoted)
  list(JOIN quoted "," quoted)
  set_source_files_properties(csrc/cuda/driver/kernel_files.cc PROPERTIES
    COMPILE_DEFINITIONS "RMSNORM_KERNEL_FILES=${quoted}")
endfunction()
