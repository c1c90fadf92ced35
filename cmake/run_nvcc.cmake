# cmake -DNVCC=LIST -DNODE=FILE -DSOURCE=FILE -DCODE=LIST -DPTX=LIST -DFATBIN=FILE -DLOG=FILE -P run_nvcc.cmake:
# compiles a file of kernels with the nvcc command line NVCC, and writes the file that the addon reads
# (csrc/cuda/driver/kernel_image.h):
#   a line, such as "code 13000 181234 sm_80 sm_90 compute_80 11000", with the CUDA that the machine code needs,
#     the bytes of the next stream, and the CUDA that each PTX needs;
#   an xz stream of a fatbin with machine code of the architectures in CODE: architectures have much in common;
#   an xz stream of the PTX of those in PTX (ptx.cmake), with relative numbers (relative_numbers.mjs);
#   a line with the checksum of all this.
# nvcc's messages go to LOG. Its warnings are shown, or all messages if it fails.
include(${CMAKE_CURRENT_LIST_DIR}/ptx.cmake)

get_filename_component(folder ${LOG} DIRECTORY)
get_filename_component(name ${FATBIN} NAME)
get_filename_component(kernels ${SOURCE} NAME_WE)
# What lies beside nvcc, which may be found by a link.
list(GET NVCC 0 nvcc)
get_filename_component(real_nvcc ${nvcc} REALPATH)
get_filename_component(beside ${nvcc} DIRECTORY)
get_filename_component(real_beside ${real_nvcc} DIRECTORY)
foreach(tool IN ITEMS ptxas fatbinary)
  find_program(${tool} ${tool} HINTS ${beside} ${real_beside} NO_CACHE REQUIRED)
endforeach()
set(parts ${FATBIN}.parts)
file(REMOVE_RECURSE ${parts})
file(MAKE_DIRECTORY ${folder} ${parts})

execute_process(COMMAND ${NVCC} --keep --keep-dir ${parts} -o ${parts}/nvcc.fatbin ${SOURCE}
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
file(WRITE ${LOG} "${output}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${output}")
endif()

# kept(RESULT NAMES...): the first of these files that nvcc has kept. It names what is of one architecture
# alone without it.
function(kept result)
  foreach(file IN LISTS ARGN)
    file(GLOB found ${parts}/${file})
    if(found)
      list(GET found 0 found)
      set(${result} ${found} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "nvcc kept none of these files: ${ARGN}")
endfunction()

set(images)
foreach(arch IN LISTS CODE)
  kept(cubin *.sm_${arch}.cubin ${kernels}.compute_${arch}.cubin ${kernels}.cubin)
  list(APPEND images --image3=kind=elf,sm=${arch},file=${cubin})
endforeach()
execute_process(COMMAND ${fatbinary} --create=${parts}/code -64 --compress-mode=none ${images}
  COMMAND_ERROR_IS_FATAL ANY)
set(lowered)
foreach(arch IN LISTS PTX)
  kept(ptx ${kernels}.compute_${arch}.ptx ${kernels}.ptx)
  lower_ptx(${arch} ${ptx} ${parts}/${arch}.ptx)
  check_ptx(${arch} ${parts}/${arch}.ptx ${ptxas})
  list(APPEND lowered ${parts}/${arch}.ptx)
endforeach()
execute_process(COMMAND ${NODE} ${CMAKE_CURRENT_LIST_DIR}/relative_numbers.mjs ${parts}/texts ${lowered}
  COMMAND_ERROR_IS_FATAL ANY)
foreach(stream IN ITEMS code texts)
  file(ARCHIVE_CREATE OUTPUT ${parts}/${stream}.xz PATHS ${parts}/${stream}
    FORMAT raw COMPRESSION XZ COMPRESSION_LEVEL 9)
endforeach()

# A driver reads machine code of its own CUDA, whatever the minor version, and of older ones.
execute_process(COMMAND ${nvcc} --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "release ([0-9]+)" _ "${version}")
file(SIZE ${parts}/code.xz code_bytes)
set(line "code ${CMAKE_MATCH_1}000 ${code_bytes}")
foreach(arch IN LISTS CODE)
  string(APPEND line " sm_${arch}")
endforeach()
foreach(arch IN LISTS PTX)
  list(GET ptx_${arch} 1 cuda)
  string(APPEND line " compute_${arch} ${cuda}")
endforeach()
file(WRITE ${parts}/line "${line}\n")

execute_process(COMMAND ${CMAKE_COMMAND} -E cat ${parts}/line ${parts}/code.xz ${parts}/texts.xz
  OUTPUT_FILE ${parts}/all COMMAND_ERROR_IS_FATAL ANY)
file(SHA256 ${parts}/all hash)
file(APPEND ${parts}/all "SHA256 (${name}) = ${hash}\n")
file(RENAME ${parts}/all ${FATBIN})
file(REMOVE_RECURSE ${parts})
string(REGEX MATCHALL "[^\n]*warning[^\n]*" warnings "${output}")
foreach(warning IN LISTS warnings)
  message(WARNING "${warning}")
endforeach()
