/* Writes numbered lines: every byte of them follows from the seed.
 *
 *   numbered print SEED STREAM BYTES
 *       stream `o` or `e` as a whole, at least BYTES of it, to stdout
 *   numbered write SEED OUT ERR PAUSE STATUS
 *       at least OUT and ERR bytes of the two streams to stdout and stderr, in writes of any
 *       size, with pauses of PAUSE microseconds on average; then exit with STATUS
 *
 * A line has 1 byte to 1 MB. It consists of blocks of 16 bytes, each with stream, line and number
 * of the block (`o0000042.00001f|`), the last one cut short, and a newline. So a piece of 31 bytes
 * says where it belongs. Every second seed leaves the newline of the last line out. A terminal is
 * put into raw mode, so that it changes no byte.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { BLOCK = 16, LINE_MAX_BYTES = 1 << 20 };

/* splitmix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t below(uint64_t *state, uint64_t limit)
{
	return random_of(state) % limit;
}

struct stream {
	int fd;
	char name;
	int cut;          /* the last line has no newline */
	uint64_t state;
	uint64_t number;  /* of the next line */
	int64_t left;     /* bytes that are to be made yet */
	size_t size, at;  /* of the line, and what is written of it */
	char line[LINE_MAX_BYTES + BLOCK + 1];
};

/* Bytes of a line: mostly few, so that there are many of them. */
static size_t line_size(uint64_t *state)
{
	static const struct { unsigned share; size_t most; } sizes[] = {
		{600, 32}, {900, 256}, {985, 9000}, {998, 70000}, {1000, LINE_MAX_BYTES},
	};
	unsigned share = below(state, 1000);
	int i = 0;
	while (share >= sizes[i].share)
		i++;
	return 1 + below(state, sizes[i].most);
}

/* Makes the next line; 0 when there is none. */
static int next_line(struct stream *s)
{
	size_t size;
	if (s->left <= 0)
		return 0;
	size = line_size(&s->state);
	for (size_t at = 0; at < size; at += BLOCK)
		snprintf(s->line + at, BLOCK + 1, "%c%07u.%06x|", s->name,
			 (unsigned)(s->number % 10000000), (unsigned)(at / BLOCK));
	s->line[size - 1] = '\n';
	s->number++;
	s->left -= size;
	s->size = size;
	s->at = 0;
	if (s->left <= 0 && s->cut && size > 1)
		s->size--;
	return 1;
}

static void open_stream(struct stream *s, int fd, char name, uint64_t seed, int64_t bytes)
{
	s->fd = fd;
	s->name = name;
	s->cut = seed & 1;
	s->state = seed * 2 + (name == 'e');
	s->left = bytes;
}

static void write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno != EINTR) {
			perror("numbered: write");
			exit(99);
		}
		if (n > 0) {
			data += n;
			size -= n;
		}
	}
}

/* Writes about `size` bytes, or to the end of a line with 0; 0 when the stream is at its end. */
static int write_some(struct stream *s, size_t size)
{
	static char buffer[1 << 20];
	size_t used = 0;
	do {
		size_t piece;
		if (s->at == s->size && !next_line(s))
			break;
		piece = s->size - s->at;
		if (size && piece > size - used)
			piece = size - used;
		memcpy(buffer + used, s->line + s->at, piece);
		s->at += piece;
		used += piece;
	} while (used < size);
	write_all(s->fd, buffer, used);
	return used > 0;
}

static void make_raw(void)
{
	struct termios settings;
	if (tcgetattr(1, &settings) == 0) {
		cfmakeraw(&settings);
		settings.c_iflag &= ~IMAXBEL;
		tcsetattr(1, TCSADRAIN, &settings);
	}
}

static void write_both(struct stream *streams, uint64_t seed, unsigned pause)
{
	static const size_t most[] = {8, 200, 5000, 65536, 300000};
	uint64_t state = ~seed;
	int open[2] = {1, 1};
	while (open[0] || open[1]) {
		int i = below(&state, 2);
		size_t limit = most[below(&state, 5)];
		size_t size = below(&state, 4) ? 1 + below(&state, limit) : 0;
		if (open[i])
			open[i] = write_some(&streams[i], size);
		if (pause && below(&state, 2))
			usleep(below(&state, 4 * pause));
	}
}

int main(int argc, char **argv)
{
	static struct stream streams[2];
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	if (argc == 5 && strcmp(argv[1], "print") == 0) {
		open_stream(streams, 1, *argv[3], seed, atoll(argv[4]));
		while (write_some(streams, 65536))
			;
		return 0;
	}
	if (argc != 7 || strcmp(argv[1], "write") != 0)
		return 98;
	make_raw();
	open_stream(&streams[0], 1, 'o', seed, atoll(argv[3]));
	open_stream(&streams[1], 2, 'e', seed, atoll(argv[4]));
	write_both(streams, seed, atoi(argv[5]));
	return atoi(argv[6]);
}
