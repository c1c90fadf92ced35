# cmake -DCOMMAND=LIST -DFATBIN=FILE -DLOG=FILE -P run_nvcc.cmake: runs a command that makes a fatbin in
# FATBIN.part, and gives it its name once it ends with the line that csrc/cuda/driver/kernel_files.cc checks.
# The command's messages go to LOG; shown are its warnings, or all if it fails.
get_filename_component(folder ${LOG} DIRECTORY)
file(MAKE_DIRECTORY ${folder})
execute_process(COMMAND ${COMMAND} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
file(WRITE ${LOG} "${output}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${output}")
endif()
file(SHA256 ${FATBIN}.part hash)
get_filename_component(name ${FATBIN} NAME)
file(APPEND ${FATBIN}.part "SHA256 (${name}) = ${hash}\n")
file(RENAME ${FATBIN}.part ${FATBIN})
string(REGEX MATCHALL "[^\n]*warning[^\n]*" warnings "${output}")
foreach(warning IN LISTS warnings)
  message(WARNING "${warning}")
endforeach()
