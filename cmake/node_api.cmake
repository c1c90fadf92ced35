# use_node_api_of_host(TARGET): adds csrc/os/windows/node_api.cc to TARGET, a Windows module built with
# mingw-w64. Generates its list of Node-API functions from node-api-headers.
function(use_node_api_of_host target)
  list(GET CMAKE_JS_INC 0 include)
  file(STRINGS ${include}/../def/node_api.def names REGEX "^(napi|node_api)_")
  list(TRANSFORM names REPLACE "(.+)" "  F(\\1)")
  list(JOIN names " \\\n" names)
  set(folder ${PROJECT_BINARY_DIR}/node_api)
  file(CONFIGURE OUTPUT ${folder}/node_api_functions.h
    CONTENT "#define NODE_API_FUNCTIONS(F) \\\n${names}\n" @ONLY)
  target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/csrc/os/windows/node_api.cc)
  target_include_directories(${target} PRIVATE ${folder})
endfunction()
