# cmake -DNVCC=LIST -DSOURCE=FILE -DCODE=LIST -DPTX=LIST -DFATBIN=FILE -DLOG=FILE -P run_nvcc.cmake: compiles a
# file of kernels, by a command of nvcc's, and writes what the addon reads (csrc/cuda/driver/kernel_files.cc):
# a fatbin with machine code of the architectures in CODE, PTX of those in PTX (ptx.cmake), and a line with
# a checksum.
# nvcc's messages go to LOG; shown are its warnings, or all if it fails.
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
  message(FATAL_ERROR "nvcc has kept none of ${ARGN}")
endfunction()

set(images)
foreach(arch IN LISTS CODE)
  kept(cubin *.sm_${arch}.cubin ${kernels}.compute_${arch}.cubin ${kernels}.cubin)
  list(APPEND images --image3=kind=elf,sm=${arch},file=${cubin})
endforeach()
execute_process(COMMAND ${fatbinary} --create=${parts}/code -64 --compress-mode=size ${images}
  COMMAND_ERROR_IS_FATAL ANY)
set(lowered)
foreach(arch IN LISTS PTX)
  kept(ptx ${kernels}.compute_${arch}.ptx ${kernels}.ptx)
  lower_ptx(${arch} ${ptx} ${parts}/${arch}.ptx)
  check_ptx(${arch} ${parts}/${arch}.ptx ${ptxas})
  list(APPEND lowered ${parts}/${arch}.ptx)
endforeach()
# Drivers read machine code of their own CUDA, whatever its minor version, and of older ones.
execute_process(COMMAND ${nvcc} --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "release ([0-9]+)" _ "${version}")
pack_ptx(${CMAKE_MATCH_1}000 "${PTX}" "${lowered}" ${parts}/ptx)

execute_process(COMMAND ${CMAKE_COMMAND} -E cat ${parts}/code ${parts}/ptx OUTPUT_FILE ${parts}/all
  COMMAND_ERROR_IS_FATAL ANY)
file(SHA256 ${parts}/all hash)
file(APPEND ${parts}/all "SHA256 (${name}) = ${hash}\n")
file(RENAME ${parts}/all ${FATBIN})
file(REMOVE_RECURSE ${parts})
string(REGEX MATCHALL "[^\n]*warning[^\n]*" warnings "${output}")
foreach(warning IN LISTS warnings)
  message(WARNING "${warning}")
endforeach()
