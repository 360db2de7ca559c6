# ssl4rl_layer(NAME [USES layer…] [LINKS target…] [TORCH] SOURCES file…)
#
# One static library per layer of the architecture (docs/architecture.md). A layer links only the layers it USES, so the
# linker holds the direction. TORCH layers share one precompiled header of ATen.
add_library(ssl4rl_options INTERFACE)
# GCC 12 sees overlaps and overruns in std::string's operators that do not exist (GCC bugs 105329, 105651).
target_compile_options(ssl4rl_options INTERFACE -Wall -Wextra -Wshadow -Wno-missing-field-initializers -Wno-restrict -Wno-array-bounds -Wno-stringop-overread
                       -Werror -Winvalid-pch)
target_include_directories(ssl4rl_options INTERFACE ${PROJECT_SOURCE_DIR}/include)
if(SSL4RL_SANITIZE)
  # Under a sanitizer GCC 12 calls members of std::regex uninitialised (GCC bug 105562).
  target_compile_options(ssl4rl_options INTERFACE -fsanitize=${SSL4RL_SANITIZE} -fno-omit-frame-pointer -Wno-maybe-uninitialized)
  target_link_options(ssl4rl_options INTERFACE -fsanitize=${SSL4RL_SANITIZE})
endif()

function(ssl4rl_use_torch target)
  target_link_libraries(${target} PUBLIC ssl4rl::torch)
  target_compile_options(${target} PRIVATE -fpch-preprocess)
  if(NOT TARGET ssl4rl_torch_pch)
    file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cpp "// Holds the precompiled header of the layers that use LibTorch.\n")
    add_library(ssl4rl_torch_pch OBJECT ${CMAKE_BINARY_DIR}/torch_pch.cpp)
    target_link_libraries(ssl4rl_torch_pch PRIVATE ssl4rl_options ssl4rl::torch)
    target_compile_options(ssl4rl_torch_pch PRIVATE -fpch-preprocess)
    target_precompile_headers(ssl4rl_torch_pch PRIVATE <ATen/ATen.h> <torch/csrc/autograd/custom_function.h>)
  endif()
  target_precompile_headers(${target} REUSE_FROM ssl4rl_torch_pch)
endfunction()

function(ssl4rl_layer name)
  cmake_parse_arguments(ARG "TORCH" "" "USES;LINKS;SOURCES" ${ARGN})
  add_library(ssl4rl_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(ssl4rl_${name} PRIVATE ssl4rl_options)
  target_include_directories(ssl4rl_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include)
  foreach(layer IN LISTS ARG_USES)
    target_link_libraries(ssl4rl_${name} PUBLIC ssl4rl_${layer})
  endforeach()
  target_link_libraries(ssl4rl_${name} PUBLIC ${ARG_LINKS})
  if(ARG_TORCH)
    ssl4rl_use_torch(ssl4rl_${name})
  endif()
endfunction()
