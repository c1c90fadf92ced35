# PTX of the kernels for drivers that cannot read nvcc's machine code, and for GPUs that have none.
#
# nvcc writes the newest ISA version that it knows, which older drivers refuse. The kernels need much less:
# so the version is lowered, and ptxas, which refuses what a version lacks, assembles the result.

# ptx_ARCH: the ISA version, the first CUDA whose drivers read it, and GPUs to assemble it for.
set(ptx_75 6.3 10000 75)
set(ptx_80 7.0 11000 80 86 90 120)
set(ptx_90 7.8 11080 90 100)
set(ptx_100 8.6 12070 100)
set(ptx_120 8.7 12080 120)

# lower_ptx(ARCH FROM TO): writes nvcc's PTX with the ISA version of its architecture.
function(lower_ptx arch from to)
  list(GET ptx_${arch} 0 version)
  file(READ ${from} text)
  # A driver's compiler may fuse a product and a sum that name no rounding: the numerics contract does not.
  string(REGEX MATCH "[ \t](add|sub|mul)(\\.ftz|\\.sat)*\\.(f16|bf16|f32|f64)[^\n]*" unrounded "${text}")
  if(unrounded)
    message(FATAL_ERROR "${from} has an operation without rounding:${unrounded}")
  endif()
  string(REGEX REPLACE "\n\\.version [0-9.]+" "\n.version ${version}" text "\n${text}")
  # A hint about loads, which needs 8.3; and comments.
  string(REGEX REPLACE "\n[ \t]*\\.pragma \"used_bytes_mask[^\n]*" "" text "${text}")
  string(REGEX REPLACE "\n[ \t]*//[^\n]*" "" text "${text}")
  string(REGEX REPLACE "\n\n+" "\n" text "${text}")
  # Labels belong to their function, so they need not carry its number.
  string(REGEX REPLACE "\\$L__BB[0-9]+_" "$L_" text "${text}")
  string(SUBSTRING "${text}" 1 -1 text)
  file(WRITE ${to} "${text}")
endfunction()

# check_ptx(ARCH FILE PTXAS): fails where lowered PTX uses what its ISA version lacks.
function(check_ptx arch file ptxas)
  list(SUBLIST ptx_${arch} 2 -1 gpus)
  foreach(gpu IN LISTS gpus)
    execute_process(COMMAND ${ptxas} -arch=sm_${gpu} ${file} -o ${file}.cubin
      RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT result EQUAL 0)
      list(GET ptx_${arch} 0 version)
      message(FATAL_ERROR "The PTX of compute_${arch} is not of version ${version}, for sm_${gpu}:\n${output}")
    endif()
  endforeach()
endfunction()
