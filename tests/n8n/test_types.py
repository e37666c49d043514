"""The node package's JSDoc types hold: TypeScript's compiler reads them, strictly."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.n8n import install, package

OPTIONS = {
    "noEmit": True, "allowJs": True, "checkJs": True, "strict": True, "noImplicitAny": False,
    "useUnknownInCatchVariables": False, "target": "es2022", "module": "commonjs", "moduleResolution": "node",
    "types": [],
}  # fmt: skip


def complaints(tree, folder, where):
    """What the compiler says about the JavaScript below `folder`, a line each."""
    names = [str(Path(__file__).with_name("types.d.ts")), f"{folder}/**/*.js"]
    project = where / "tsconfig.json"
    project.write_text(json.dumps({"compilerOptions": OPTIONS, "include": names}))
    argv = [tree / "bin/node", install.typescript(), "-p", project]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in {0, 2}, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_packages_types_hold(tree, tmp_path):
    """No complaint."""
    assert complaints(tree, package.SOURCES / f"custom/{package.NAME}", tmp_path) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("new Vault(console.log, { apiUrl: 1 })", "not assignable"),
        ("new Failure('x', 'y').advise", "does not exist"),
    ],
)
def test_a_wrong_type_would_be_seen(tree, tmp_path, line, words):
    """The control: a file beside that uses the package wrongly."""
    library = package.SOURCES / f"custom/{package.NAME}/lib/vault"
    (tmp_path / "wrong.js").write_text(
        f"const {{ Failure, Vault }} = require('{library}');\n{line};\nFailure; Vault;\n"
    )
    assert words in "\n".join(complaints(tree, tmp_path, tmp_path))
