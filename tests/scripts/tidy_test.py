"""scripts/tidy finds what it is for: each wrong tree gives the finding it should, a right one none."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TIDY = pathlib.Path(sys.argv.pop(1))


class TidyTest(unittest.TestCase):
    def findings(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / 'scripts').mkdir()
            shutil.copy(TIDY, root / 'scripts' / 'tidy')
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            done = subprocess.run([root / 'scripts' / 'tidy'], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1 if done.stdout else 0, done.stderr)
            return done.stdout

    def test_allowed_includes(self):
        text = '#include "ringline/base/json.hpp"\n#include "ringline/chat/event.hpp"\n#include <net/if.h>\n#include "local.hpp"\n'
        self.assertEqual(self.findings({'src/net/a.cpp': text, 'src/app/b.cpp': '#include "net/a.hpp"\n'}), '')

    def test_a_lower_layer_includes_a_higher_one(self):
        self.assertIn('src/base/a.cpp:2: layer base must not include ringline/loop/ring.hpp',
                      self.findings({'src/base/a.cpp': '\n#include "ringline/loop/ring.hpp"\n'}))
        self.assertIn('layer chat must not include ringline/loop/ring.hpp',
                      self.findings({'include/ringline/chat/a.hpp': '#include <ringline/loop/ring.hpp>\n'}))
        self.assertIn('layer backend must not include net/a.hpp', self.findings({'src/backend/a.cpp': '#include "net/a.hpp"\n'}))
        self.assertIn('not by ..', self.findings({'src/backend/a.cpp': '#include "../net/a.hpp"\n'}))
        self.assertIn('no layer other', self.findings({'src/other/a.cpp': '\n'}))

    def test_an_include_in_a_comment_is_none(self):
        self.assertEqual(self.findings({'src/base/a.cpp': '// #include "ringline/loop/ring.hpp"\n'}), '')

    def test_long_functions(self):
        body = '  int x = 0;\n' * 69
        self.assertIn('src/base/a.cpp:2: a function of 71 lines', self.findings({'src/base/a.cpp': '\nint f() {\n' + body + '}\n'}))
        self.assertIn('a function of 71 lines', self.findings({'tests/a.cpp': 'TEST(A, b) {\n' + body + '}\n'}))
        self.assertIn('a function of 72 lines', self.findings({'src/base/a.cpp': 'struct A {\n  int f(int a,\n        int b) const {\n' + body + '  }\n};\n'}))

    def test_a_function_of_the_right_size_and_what_is_none(self):
        body = '  int x = 0;\n' * 68
        self.assertEqual(self.findings({'src/base/a.cpp': 'int f() {\n' + body + '}\n'}), '')
        long_class = 'struct A {\n' + '  int f() { return 1; }\n' * 100 + '};\nnamespace x {\n' + 'int g();\n' * 100 + '}\n'
        self.assertEqual(self.findings({'src/base/a.cpp': long_class}), '')
        braces = 'int f() {\n  const char* s = "{{{"; /* { */ // {\n  char c = \'{\';\n}\n' + 'int g();\n' * 100
        self.assertEqual(self.findings({'src/base/a.cpp': braces}), '')

    def test_long_files(self):
        self.assertIn('a file of 801 lines', self.findings({'tests/unit/a.cpp': '\n' * 801}))
        self.assertEqual(self.findings({'tests/unit/a.cpp': '\n' * 800}), '')


if __name__ == '__main__':
    unittest.main()
