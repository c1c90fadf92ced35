# The names of compiled kernels. Each contains a hash of everything that decides a fatbin's contents
# except the architectures: nvcc's options, and the source and its headers as the compiler sees them. So
# compiled files stay valid when only a comment is edited.

# source_text(FILE RESULT): a source without its comments and its layout. As in the preprocessor, a run
# of comments and white space becomes one space, a directive stays on a line of its own, and literals
# stay unchanged.
#
# A file that can tell the difference (__LINE__, or a raw string, in which nothing is a comment) is
# returned unchanged, except for its line ends.

# Marks that are inserted during the replacements. A source that contains one is returned unchanged, too.
string(ASCII 1 begin_mark)
string(ASCII 2 end_mark)
string(ASCII 3 space_mark)
string(ASCII 4 line_mark)

function(source_text file result)
  file(READ ${file} text)
  string(REPLACE "\r\n" "\n" text "${text}")
  if(text MATCHES "R\"|__LINE__|[${begin_mark}${end_mark}${space_mark}${line_mark}]")
    set(${result} "${text}" PARENT_SCOPE)
    return()
  endif()
  string(REPLACE "\\\n" "" text "${text}")

  # Names and numbers are matched because quotes can touch them: the quote in 1'000 begins no literal, and
  # the 8 in u8'a' begins no number.
  set(string "\"[^\"\\\n]*(\\\\[^\n][^\"\\\n]*)*\"")
  set(character "'[^'\\\n]*(\\\\[^\n][^'\\\n]*)*'")
  set(name "[A-Za-z_][A-Za-z0-9_]*")
  set(number "[0-9]([A-Za-z0-9_.]|'[A-Za-z0-9_])*")
  set(comment "//[^\n]*|/\\*[^*]*\\*+([^*/][^*]*\\*+)*/")
  string(REGEX REPLACE "${string}|${character}|${name}|${number}|${comment}|[ \t]+"
    "${begin_mark}\\0${end_mark}" text "\n${text}\n")
  string(REGEX REPLACE "${begin_mark}(//|/\\*|[ \t])[^${end_mark}]*${end_mark}" "${space_mark}"
    text "${text}")
  string(REGEX REPLACE "[${begin_mark}${end_mark}]" "" text "${text}")

  # A line break ends a directive; elsewhere it becomes a space. Line breaks are doubled, since two
  # adjacent directives would share one.
  string(REGEX REPLACE "[${space_mark}\n]*\n[${space_mark}\n]*" "\n\n" text "${text}")
  string(REGEX REPLACE "\n(#[^\n]*)\n" "${line_mark}\\1${line_mark}" text "${text}")
  string(REGEX REPLACE "[${space_mark}\n]+" " " text "${text}")
  string(REGEX REPLACE "[ ]*${line_mark}[${line_mark} ]*" "\n" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

# included_files(SOURCE RESULT): a source and the headers of this project that it includes, directly or
# indirectly.
function(included_files source result)
  set(files)
  set(open ${source})
  while(open)
    list(POP_FRONT open file)
    if(NOT file IN_LIST files)
      list(APPEND files ${file})
      get_filename_component(folder ${file} DIRECTORY)
      source_text(${file} text)
      string(REGEX MATCHALL "\n# ?include ?\"[^\"\n]*\"" lines "${text}")
      foreach(line IN LISTS lines)
        string(REGEX REPLACE ".*\"(.*)\"" "\\1" name "${line}")
        get_filename_component(included ${name} ABSOLUTE BASE_DIR ${folder})
        list(APPEND open ${included})
      endforeach()
    endif()
  endwhile()
  set(${result} ${files} PARENT_SCOPE)
endfunction()

# fatbin_name(OPTIONS FILES RESULT): a name such as forward.0123456789abcdef.fatbin, where FILES is the
# result of included_files for forward.cu.
function(fatbin_name options files result)
  set(all "${options}")
  foreach(file IN LISTS files)
    source_text(${file} text)
    string(APPEND all "\n${text}")
  endforeach()
  string(SHA256 hash "${all}")
  string(SUBSTRING ${hash} 0 16 hash)
  list(GET files 0 source)
  get_filename_component(name ${source} NAME_WE)
  set(${result} ${name}.${hash}.fatbin PARENT_SCOPE)
endfunction()
