# cmake -DNVCC=LIST -DNODE=FILE -DSOURCE=FILE -DCODE=LIST -DPTX=LIST -DFATBIN=FILE -DLOG=FILE -P run_nvcc.cmake:
# compiles a file of kernels with the nvcc command line NVCC, and writes the file FATBIN, which the addon
# reads (csrc/cuda/driver/kernel_image.h). It consists of
#   - a line such as "code 13000 181234 sm_80 sm_90 compute_80 11000": the CUDA version that the machine code
#     needs, the bytes of the next stream, the architectures, and the CUDA version that each PTX needs;
#   - an xz stream: a fatbin with the machine code for all architectures in CODE. They have much in common,
#     so they compress better together;
#   - an xz stream: the PTX for the architectures in PTX (ptx.cmake), with relative numbers
#     (relative_numbers.mjs);
#   - a line with the checksum of all this.
# nvcc's messages go to LOG. Its warnings are shown; if it fails, all messages.
include(${CMAKE_CURRENT_LIST_DIR}/ptx.cmake)

get_filename_component(folder ${LOG} DIRECTORY)
get_filename_component(name ${FATBIN} NAME)
get_filename_component(kernels ${SOURCE} NAME_WE)
# ptxas and fatbinary are in the folder of nvcc, or of the file that it is a link to.
list(GET NVCC 0 nvcc)
get_filename_component(real_nvcc ${nvcc} REALPATH)
get_filename_component(beside ${nvcc} DIRECTORY)
get_filename_component(real_beside ${real_nvcc} DIRECTORY)
foreach(tool IN ITEMS ptxas fatbinary)
  find_program(${tool} ${tool} HINTS ${beside} ${real_beside} NO_CACHE REQUIRED)
endforeach()
set(workdir ${FATBIN}.workdir)
file(REMOVE_RECURSE ${workdir})
file(MAKE_DIRECTORY ${folder} ${workdir})

execute_process(COMMAND ${NVCC} --keep --keep-dir ${workdir} -o ${workdir}/nvcc.fatbin ${SOURCE}
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
file(WRITE ${LOG} "${output}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${output}")
endif()

# find_intermediate(RESULT NAMES...): the first of these files that `nvcc --keep` has left. The names of files
# lack the architecture if there is only one.
function(find_intermediate result)
  foreach(file IN LISTS ARGN)
    file(GLOB found ${workdir}/${file})
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
  find_intermediate(cubin *.sm_${arch}.cubin ${kernels}.compute_${arch}.cubin ${kernels}.cubin)
  list(APPEND images --image3=kind=elf,sm=${arch},file=${cubin})
endforeach()
execute_process(COMMAND ${fatbinary} --create=${workdir}/code -64 --compress-mode=none ${images}
  COMMAND_ERROR_IS_FATAL ANY)
set(lowered)
foreach(arch IN LISTS PTX)
  find_intermediate(ptx ${kernels}.compute_${arch}.ptx ${kernels}.ptx)
  lower_ptx(${arch} ${ptx} ${workdir}/${arch}.ptx)
  check_ptx(${arch} ${workdir}/${arch}.ptx ${ptxas})
  list(APPEND lowered ${workdir}/${arch}.ptx)
endforeach()
execute_process(COMMAND ${NODE} ${CMAKE_CURRENT_LIST_DIR}/relative_numbers.mjs ${workdir}/texts ${lowered}
  COMMAND_ERROR_IS_FATAL ANY)
foreach(stream IN ITEMS code texts)
  file(ARCHIVE_CREATE OUTPUT ${workdir}/${stream}.xz PATHS ${workdir}/${stream}
    FORMAT raw COMPRESSION XZ COMPRESSION_LEVEL 9)
endforeach()

# A driver reads machine code of its own major CUDA version, whatever the minor version, and of older ones.
execute_process(COMMAND ${nvcc} --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "release ([0-9]+)" _ "${version}")
file(SIZE ${workdir}/code.xz code_bytes)
set(line "code ${CMAKE_MATCH_1}000 ${code_bytes}")
foreach(arch IN LISTS CODE)
  string(APPEND line " sm_${arch}")
endforeach()
foreach(arch IN LISTS PTX)
  list(GET ptx_${arch} 1 cuda)
  string(APPEND line " compute_${arch} ${cuda}")
endforeach()
file(WRITE ${workdir}/line "${line}\n")

execute_process(COMMAND ${CMAKE_COMMAND} -E cat ${workdir}/line ${workdir}/code.xz ${workdir}/texts.xz
  OUTPUT_FILE ${workdir}/all COMMAND_ERROR_IS_FATAL ANY)
file(SHA256 ${workdir}/all hash)
file(APPEND ${workdir}/all "SHA256 (${name}) = ${hash}\n")
file(RENAME ${workdir}/all ${FATBIN})
file(REMOVE_RECURSE ${workdir})
string(REGEX MATCHALL "[^\n]*warning[^\n]*" warnings "${output}")
foreach(warning IN LISTS warnings)
  message(WARNING "${warning}")
endforeach()
