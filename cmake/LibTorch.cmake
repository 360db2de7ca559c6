# Defines the target ssl4rl::torch. LibTorch's own CMake package wants a CUDA toolkit even for the CPU, so the target is
# made by hand from a directory with include/ and lib/. Looked for in: LIBTORCH (cache or environment), CMAKE_PREFIX_PATH,
# then where scripts/setup.sh unpacks the wheel.
set(SSL4RL_LIBTORCH_VERSION 2.11.0)
if(SSL4RL_CUDA)
  set(_flavour cuda)
else()
  set(_flavour cpu)
endif()
if(DEFINED ENV{SSL4RL_CACHE})
  set(_cache $ENV{SSL4RL_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(_cache $ENV{XDG_CACHE_HOME}/ssl4rl)
else()
  set(_cache $ENV{HOME}/.cache/ssl4rl)
endif()

set(LIBTORCH "$ENV{LIBTORCH}" CACHE PATH "Directory of LibTorch, with include/ and lib/")
find_path(SSL4RL_TORCH_INCLUDE ATen/ATen.h
          HINTS ${LIBTORCH}/include PATH_SUFFIXES include
          PATHS ${_cache}/libtorch-${SSL4RL_LIBTORCH_VERSION}-${_flavour}/torch/include)
if(NOT SSL4RL_TORCH_INCLUDE)
  message(FATAL_ERROR "LibTorch ${SSL4RL_LIBTORCH_VERSION} (${_flavour}) not found: run scripts/setup.sh, or set LIBTORCH to a "
                      "directory with include/ and lib/")
endif()
get_filename_component(_torch ${SSL4RL_TORCH_INCLUDE} DIRECTORY)
message(STATUS "LibTorch: ${_torch}")

add_library(ssl4rl_torch INTERFACE)
add_library(ssl4rl::torch ALIAS ssl4rl_torch)
# -idirafter: the wheel brings its own fmt and others, which must not hide the system's.
target_compile_options(ssl4rl_torch INTERFACE "SHELL:-idirafter ${SSL4RL_TORCH_INCLUDE}"
                       "SHELL:-idirafter ${SSL4RL_TORCH_INCLUDE}/torch/csrc/api/include")
target_link_directories(ssl4rl_torch INTERFACE ${_torch}/lib)
# -fopenmp: without it at::parallel_for runs serially. LibTorch's own libgomp.so.1 is found first, through the RPATH.
target_compile_options(ssl4rl_torch INTERFACE -fopenmp)
target_link_libraries(ssl4rl_torch INTERFACE torch_cpu c10 ${_torch}/lib/libgomp.so.1)
if(NOT EXISTS ${_torch}/lib/libgomp.so.1)
  set_target_properties(ssl4rl_torch PROPERTIES INTERFACE_LINK_LIBRARIES "torch_cpu;c10;gomp")
endif()
if(SSL4RL_CUDA)
  find_package(CUDAToolkit REQUIRED)
  target_compile_definitions(ssl4rl_torch INTERFACE SSL4RL_CUDA)
  # Kernels register themselves when the library is loaded, so it must be linked though no symbol is asked for.
  target_link_libraries(ssl4rl_torch INTERFACE "-Wl,--no-as-needed" torch_cuda c10_cuda "-Wl,--as-needed" CUDA::cudart)
endif()
set(CMAKE_BUILD_RPATH ${_torch}/lib)
set(CMAKE_INSTALL_RPATH ${_torch}/lib)
