#pragma once

namespace sluice::agent {

/// Lets this process have as many descriptors as it may, since each connection and each container
/// takes some. `as_init`: what it may, and all programs after it, is kMostDescriptors first, as the
/// kernel begins with 4096. Once, before the first child.
void raise_descriptor_limit(bool as_init);
inline constexpr unsigned kMostDescriptors = 1'048'576;

/// In a child: how many it may have until it asks for more is as it was for us (1024, mostly). A
/// program that uses select() counts on it. Allocates nothing.
void restore_descriptor_limit();

}  // namespace sluice::agent
