/* Preloaded into Janus. It gathers no candidates on loopback interfaces and has no setting for that: this hides from it that
 * an interface is one. Janus lists interfaces when it gathers candidates, not while it forwards media. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stddef.h>

int getifaddrs(struct ifaddrs **list) {
	int (*original)(struct ifaddrs **) = (int (*)(struct ifaddrs **))dlsym(RTLD_NEXT, "getifaddrs");
	int result = original ? original(list) : -1;
	if (result == 0)
		for (struct ifaddrs *interface = *list; interface != NULL; interface = interface->ifa_next)
			interface->ifa_flags &= ~(unsigned)IFF_LOOPBACK;
	return result;
}
