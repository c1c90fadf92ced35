# PTX of the kernels, for drivers that cannot read nvcc's machine code, and for GPUs without machine code.
#
# nvcc writes the newest PTX ISA version that it knows, which older drivers refuse. The kernels need an older
# one. So the version is lowered, and ptxas assembles the result as a check: it refuses instructions that the
# version lacks.

# ptx_ARCH: the ISA version; the first CUDA version whose drivers read it; architectures to check it on.
set(ptx_75 6.3 10000 75)
set(ptx_80 7.0 11000 80 86 90 120)
set(ptx_90 7.8 11080 90 100)
set(ptx_100 8.6 12070 100)
set(ptx_120 8.7 12080 120)

# lower_ptx(ARCH FROM TO): copies nvcc's PTX with the ISA version of ptx_ARCH.
function(lower_ptx arch from to)
  list(GET ptx_${arch} 0 version)
  file(READ ${from} text)
  # The driver's compiler may fuse a product and a sum without explicit rounding. The numerics contract
  # forbids that.
  string(REGEX MATCH "[ \t](add|sub|mul)(\\.ftz|\\.sat)*\\.(f16|bf16|f32|f64)[^\n]*" unrounded "${text}")
  if(unrounded)
    message(FATAL_ERROR "${from} has an operation without rounding:${unrounded}")
  endif()
  string(REGEX REPLACE "\n\\.version [0-9.]+" "\n.version ${version}" text "\n${text}")
  # Removes comments, and a hint about loads, which needs ISA version 8.3.
  string(REGEX REPLACE "\n[ \t]*\\.pragma \"used_bytes_mask[^\n]*" "" text "${text}")
  string(REGEX REPLACE "\n[ \t]*//[^\n]*" "" text "${text}")
  string(REGEX REPLACE "\n\n+" "\n" text "${text}")
  # Labels are local to their function, so they need not contain its number.
  string(REGEX REPLACE "\\$L__BB[0-9]+_" "$L_" text "${text}")
  string(SUBSTRING "${text}" 1 -1 text)
  file(WRITE ${to} "${text}")
endfunction()

# check_ptx(ARCH FILE PTXAS): fails if lowered PTX uses an instruction that its ISA version lacks.
function(check_ptx arch file ptxas)
  list(SUBLIST ptx_${arch} 2 -1 gpus)
  foreach(gpu IN LISTS gpus)
    execute_process(COMMAND ${ptxas} -arch=sm_${gpu} ${file} -o ${file}.cubin
      RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT result EQUAL 0)
      list(GET ptx_${arch} 0 version)
      message(FATAL_ERROR "The PTX of compute_${arch} does not assemble as version ${version} for sm_${gpu}:\n${output}")
    endif()
  endforeach()
endfunction()
