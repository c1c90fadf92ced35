/** Whether all kernels that build/Release/rmsnorm.node asks for are where it looks for them. */
export function hasKernels(): boolean;
