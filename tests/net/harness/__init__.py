"""The namespace tests' own tools: namespaces, the world, the gateway under test, the guest."""
