# Defines ssl4rl::sentencepiece, and ssl4rl::sentencepiece_train for the tests. Debian has no CMake file for it.
find_path(SSL4RL_SENTENCEPIECE_INCLUDE sentencepiece_processor.h REQUIRED)
foreach(library sentencepiece sentencepiece_train)
  find_library(SSL4RL_${library} ${library} REQUIRED)
  add_library(ssl4rl_external_${library} INTERFACE)
  add_library(ssl4rl::${library} ALIAS ssl4rl_external_${library})
  target_include_directories(ssl4rl_external_${library} SYSTEM INTERFACE ${SSL4RL_SENTENCEPIECE_INCLUDE})
  target_link_libraries(ssl4rl_external_${library} INTERFACE ${SSL4RL_${library}})
endforeach()
