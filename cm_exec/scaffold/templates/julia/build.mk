build: Manifest.toml ## get the packages

Manifest.toml: Project.toml
	julia --project=. -e 'import Pkg; Pkg.instantiate()'
