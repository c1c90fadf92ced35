# cmake -DCOMMAND=LIST -DLOG=FILE -P run_nvcc.cmake: runs a command whose messages go to a file, and
# shows of them what is a warning, or all if it fails.
get_filename_component(folder ${LOG} DIRECTORY)
file(MAKE_DIRECTORY ${folder})
execute_process(COMMAND ${COMMAND} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
file(WRITE ${LOG} "${output}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${output}")
endif()
string(REGEX MATCHALL "[^\n]*warning[^\n]*" warnings "${output}")
foreach(warning IN LISTS warnings)
  message(WARNING "${warning}")
endforeach()
