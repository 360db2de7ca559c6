# Compile through ccache where it is installed. The sloppiness lets it see through the precompiled header.
find_program(SSL4RL_CCACHE ccache)
if(SSL4RL_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${SSL4RL_CCACHE})
endif()
